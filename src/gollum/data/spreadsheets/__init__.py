"""Spreadsheets as laboratories write them: bytes → text or workbook → cells → typed columns."""
