"""Asset groups. The UI sorts them by name, so a number keeps them in the order of the flow."""

RAW = "1_raw"
TRANSFORM = "2_transform"
MARTS = "3_marts"
PREDICTIONS = "4_predictions"
CAMPAIGNS = "5_campaigns"
PUBLISHING = "6_publishing"
MONITORING = "7_monitoring"
