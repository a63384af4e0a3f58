"""The window: panels and their controllers. A panel is Qt only; what it does is in a controller without widgets."""
