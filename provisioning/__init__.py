"""Make brokers and hosts match a desired state: what must change, and do it.

Knows nothing of Celery, fleet files or tasks.
"""
