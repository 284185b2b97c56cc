"""Configs of other proxies, translated: `proxyd import`."""
