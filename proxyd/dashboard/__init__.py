"""The dashboard: files that the admin server sends to browsers, and nothing else. All that it shows and does goes through the admin API."""
