#pragma once

/* `purser-agent`: gets the descriptors from the holder (starting one if needed) and becomes the agent. */
int launcher_main(int argc, char **argv);

/* `purser-holder`: is the holder, in the foreground. */
int holder_main(int argc, char **argv);

/* `purser-warden`: starts a warden unless one runs. */
int warden_main(int argc, char **argv);

/* `purser-holder-release`: ends the holder and takes its mounts away, and ends the warden. */
int release_main(int argc, char **argv);
