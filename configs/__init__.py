"""Configurations, and what they may hold."""

from configs.registry import register

register()
