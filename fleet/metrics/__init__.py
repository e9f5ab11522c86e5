"""What does Prometheus see of the fleet, and which alerts follow from it?"""
