"""Campaigns: one file that remembers what was asked, suggested and measured, for months."""
