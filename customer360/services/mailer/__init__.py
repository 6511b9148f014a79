"""The mailer: a worker that sends what is in the mail queue. Several may run at once, on one machine or many."""
