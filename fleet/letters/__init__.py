"""Which dead letters are there, what do they say about themselves, and may they be sent again?"""
