"""The tasks that ship with fleet; each module has ``register(app)``, which adds its tasks to an app."""
