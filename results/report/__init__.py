"""The report: one HTML file on one or several workspaces that opens anywhere, from a file share too.

It holds everything that it shows (no network), so columns and details are packed and unpacked by the browser when
someone looks at them. What a model or a user wrote is text in it and never markup.
"""
