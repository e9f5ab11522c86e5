"""Debian's daemons as private processes of an ordinary user, for the demo, the tests and newcomers.

Nothing here installs, starts or changes anything system-wide, and every daemon listens on loopback only.
"""
