"""What goes into a model and what comes out of it: ``injection``, ``pii`` and ``output``, each usable alone."""
