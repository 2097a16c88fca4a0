"""The program that does all file work on a server, at the other end of a pipe.

Standard library only and Python 3.9, because it is sent as source over the connection
to whatever interpreter the server has. It writes nothing outside the root it was given.
"""
