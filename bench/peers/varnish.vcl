# Varnish as it comes: the built-in VCL, answers stored as long as they say; @WORDS@ are filled in by harness/templates.py.
vcl 4.1;

backend app {
    .host = "127.0.0.1";
    .port = "@ORIGIN_PORT@";
}
