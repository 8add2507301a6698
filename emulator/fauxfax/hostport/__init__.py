"""What a PC finds behind the USB socket, the parallel socket and port 9100. Sans-IO."""
