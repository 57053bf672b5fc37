"""What a hosted server keeps beside its ledger: objects in a folder or a bucket, and the links to them."""
