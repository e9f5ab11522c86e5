"""How is a copy of a host's files made that can be restored, and how does it come back?

Pure: ``rsync`` (argv and output), ``excludes``, ``layout``, ``snapshots`` (names, choice, retention),
``manifest``, ``failure``. Doors: ``child`` runs rsync, ``destination`` and ``lock`` guard the disk, ``store``
publishes and prunes, ``run`` makes a copy, ``restore`` brings it back and ``compare`` proves it.
"""
