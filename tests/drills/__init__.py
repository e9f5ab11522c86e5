"""Rehearsals of what operators hope never to do, with what each of them cost."""
