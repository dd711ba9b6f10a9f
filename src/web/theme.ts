// Light, dark, or what the system says; remembered on this machine.

import { useEffect } from 'preact/hooks';

const KEY = 'purser-theme';
const THEMES = ['auto', 'dark', 'light'] as const;
export type Theme = (typeof THEMES)[number];

export function storedTheme(): Theme {
  const stored = localStorage.getItem(KEY);
  return THEMES.find((theme) => theme === stored) ?? 'auto';
}

export function nextTheme(theme: Theme): Theme {
  return THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? 'auto';
}

export function useTheme(theme: Theme): void {
  useEffect(() => {
    localStorage.setItem(KEY, theme);
    document.documentElement.dataset['theme'] = theme;
  }, [theme]);
}
