"""How is a password changed everywhere, while everybody goes on logging in?"""
