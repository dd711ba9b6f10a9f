// The version of this build, put in by scripts/build.mjs; running from source it is "development".

declare const PURSER_VERSION: string | undefined;

export const VERSION: string = typeof PURSER_VERSION === 'string' ? PURSER_VERSION : 'development';
