"""Run a RabbitMQ-backed fleet of Celery workers on several hosts from one file."""

__version__ = "0.1.0"

__all__ = ["__version__"]
