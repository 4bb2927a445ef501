"""One module per screen. A screen asks the service through its `Host`; its widgets only show."""
