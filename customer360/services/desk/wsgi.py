"""What the server's workers run."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from customer360.services.desk.planning import load_planner

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "customer360.services.desk.settings")
application = get_wsgi_application()
load_planner()
