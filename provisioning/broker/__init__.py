"""RabbitMQ: its objects, and two doors to see and change them (the management HTTP API, ``rabbitmqctl``)."""
