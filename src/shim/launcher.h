#pragma once

/* `purser-agent`: gets the descriptors from the holder (starting one if needed) and becomes the agent. */
int launcher_main(int argc, char **argv);

/* `purser-holder-release`: ends the holder and takes its mounts away. */
int release_main(int argc, char **argv);
