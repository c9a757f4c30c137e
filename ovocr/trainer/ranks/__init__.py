"""Ranks (training processes): collectives, launching and failure detection. Imports only processes and base."""
