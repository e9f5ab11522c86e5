"""What does a host need so that its part of the fleet runs there?"""
