"""Finds, downloads and verifies models: hubs, folders, their metadata and the checksums of their files."""
