"""The terminal face: thin, asks `broker.service.port.Service` and shows what it says."""
