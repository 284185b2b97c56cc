"""Records of requests and flows for readers within proxyd: the flight recorder, `proxyd logs -f`, traces."""
