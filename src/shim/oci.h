#pragma once

/* The runtime shim: asks the agent where a secret is named, then becomes runc. Returns an exit status only when it refuses. */
int oci_main(int argc, char **argv);
