"""How the lake is doing and what is due: clock, requests, health, status, retention."""
