"""Internet fax (ITU-T T.37): the receiver session, mail to document, addresses, receipts. Sans-IO."""
