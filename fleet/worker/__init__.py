"""May this message run, how does it end, and who is told? The only room besides beat that imports Celery."""
