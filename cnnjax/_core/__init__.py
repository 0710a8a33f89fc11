"""What every public function checks its arguments with: messages, arrays, shapes and windows."""
