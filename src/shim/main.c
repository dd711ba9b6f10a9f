/*
 * purser-runtime: two personalities in one static program.
 *
 * 1. The OCI runtime shim (oci.c): what containerd calls as runc.
 * 2. The launcher and holder of the agent's FUSE connection (launcher.c, holder.c) and the warden of strict containers (warden.c), under verbs
 *    that runc does not have:
 *      purser-runtime purser-agent [--run-dir DIR] [--holder start|wait] [--parent-death TERM|KILL] -- COMMAND…
 *      purser-runtime purser-holder [--run-dir DIR]
 *      purser-runtime purser-warden [--run-dir DIR]
 *      purser-runtime purser-holder-release [--run-dir DIR]
 *      purser-runtime purser-version
 *    They count only as the very first argument, where containerd has runc's global options.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher.h"
#include "oci.h"
#include "report.h"

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (argc < 1)
		die("called without a name", "call it as: purser-runtime --version");
	if (strcmp(verb, "purser-agent") == 0)
		return launcher_main(argc, argv);
	if (strcmp(verb, "purser-holder") == 0)
		return holder_main(argc, argv);
	if (strcmp(verb, "purser-warden") == 0)
		return warden_main(argc, argv);
	if (strcmp(verb, "purser-holder-release") == 0)
		return release_main(argc, argv);
	if (strcmp(verb, "purser-version") == 0)
		return puts("purser-runtime " PURSER_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	return oci_main(argc, argv);
}
