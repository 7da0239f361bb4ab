"""What several tests share: toy kinds of stage, and workspaces made by hand."""
