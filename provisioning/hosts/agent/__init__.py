"""The program that looks at a host and changes it, over there.

Its modules are sent over a runner and import nothing but Python's own library and each other. The order in
which they are loaded stands in ``provisioning/hosts/sending.py``.
"""
