"""The collector: events of shops' pages and servers, over HTTP, into landing.

``routes`` takes the requests of three protocols, ``measurement_protocol`` (GA4) and ``tracker_protocol`` (Snowplow) read two of
them by the adapters, ``contract`` judges each event as its slice will, ``collecting`` has the accepted ones on disk before it
answers.
"""
