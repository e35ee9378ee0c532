# A command line run by the server. The published messages are kept so that the request can be told
# from a hello and refused in its own terms.

@0xbdbbb6da8dc7b1e8;

struct CliRequest {
  args @0 :List(Text);
}

struct CliResponse {
  exitCode @0 :Int32;           # -1: not run, or killed
  stdout @1 :Text;
  stderr @2 :Text;
}
