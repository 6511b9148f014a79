"""E-mail of campaigns: the library. It starts no server and reads no clock; services and commands call it."""
