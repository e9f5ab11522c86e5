"""What does an operator do with dead letters: look at them, send them again, give them up, keep a copy?"""
