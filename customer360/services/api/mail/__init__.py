"""What customers and mail providers reach of the mail: links of messages, preferences, opt-ins, and webhooks.

No page sets a cookie, runs a script or redirects anywhere but to the target that a signed link names, and no GET changes
anything but counts: scanners and previews of mail programs open every link.
"""
