"""What readers get: profiles and the published version."""
