"""What the person decided: where files live, settings, the list of sources.

Loading is quick on purpose: nothing here imports YAML or pydantic unless a file has to be read
that was not read before. What an entry of sources.yaml means is its driver's business.
"""
