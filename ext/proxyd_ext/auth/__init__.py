"""What the control plane has said about credentials, remembered so that only the first request of a token has to ask."""
