"""What comes back for a mail, read from its bytes: bounces, complaints, unsubscribes, and answers by machines.

``parts`` takes a message apart whatever its MIME is worth, ``words`` knows what servers write in which language, ``status``
what a code or a text says about an address, and ``parsing`` puts them together.
"""

from customer360.mail.reports.parsing import Report, parse_report

__all__ = ["Report", "parse_report"]
