"""What the API counts. Each worker writes its counts into files of ``PROMETHEUS_MULTIPROC_DIR``; any of them gives the sums."""

from prometheus_client import Counter, Histogram

REQUESTS = Counter("customer360_api_requests", "Answers by endpoint and status", ["endpoint", "status"])
SECONDS = Histogram(
    "customer360_api_seconds",
    "Seconds from a request's headers to its answer",
    ["endpoint"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
